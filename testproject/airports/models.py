from django.db import models
from django.db.models import F


class Airport(models.Model):
    code = models.CharField(max_length=8, primary_key=True)
    iata = models.CharField(max_length=3, blank=True, db_index=True)
    name = models.CharField(max_length=120)
    city = models.CharField(max_length=100, blank=True)
    region = models.CharField(max_length=100, blank=True)
    country = models.CharField(max_length=2, db_index=True)
    elevation_feet = models.FloatField()
    latitude = models.FloatField()
    longitude = models.FloatField()
    time_zone = models.CharField(max_length=50)

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return f"{self.name} ({self.iata or self.code})"


class ImportRun(models.Model):
    """One import of all airports; each chunk adds its rows to ``imported``."""

    started_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    total = models.PositiveIntegerField(null=True)
    imported = models.PositiveIntegerField(default=0)
    job_id = models.UUIDField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Import {self.pk}: {self.imported} of {self.total or '?'}"


class Comparison(models.Model):
    """A search for the nearest neighbours of a set of airports."""

    created_at = models.DateTimeField(auto_now_add=True)
    # "IATA" for those with such a code, "ALL", or a country's two letters.
    scope = models.CharField(max_length=4)
    airports = models.PositiveIntegerField()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Comparison {self.pk}: {self.airports} airports ({self.scope})"

    @property
    def pairs(self) -> int:
        return self.airports * (self.airports - 1)

    def loneliest(self) -> models.QuerySet["Neighbour"]:
        found = Neighbour.objects.filter(part__comparison=self)
        return found.select_related("airport", "nearest").order_by("-kilometres")


class Part(models.Model):
    """A slice of a comparison, and the job that computes it."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="parts")
    first = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    job_id = models.UUIDField(null=True)
    seconds = models.FloatField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=models.Q(first__lt=F("end")), name="part_not_empty")
        ]

    def __str__(self) -> str:
        return f"{self.first} to {self.end} of {self.comparison}"


class Neighbour(models.Model):
    part = models.ForeignKey(Part, on_delete=models.CASCADE)
    airport = models.ForeignKey(Airport, on_delete=models.CASCADE, related_name="+")
    nearest = models.ForeignKey(Airport, on_delete=models.CASCADE, related_name="+")
    kilometres = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["part", "airport"], name="one_neighbour_each")
        ]
        indexes = [models.Index(fields=["part", "-kilometres"], name="neighbour_loneliest")]

    def __str__(self) -> str:
        return f"{self.airport_id} – {self.nearest_id}: {self.kilometres:.0f} km"


class Report(models.Model):
    """Figures of each country's airports; ``rows`` are the rows of the page's table."""

    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    rows = models.JSONField(default=list)
    job_id = models.UUIDField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Report {self.pk}"
