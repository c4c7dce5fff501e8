"""Distances on a sphere the size of the Earth."""

import math
from collections.abc import Sequence

#: Mean radius, https://en.wikipedia.org/wiki/Earth_radius#Arithmetic_mean_radius
EARTH_KM = 6371.0088
Point = tuple[float, float, float]


def point(latitude: float, longitude: float) -> Point:
    """Return a place given in degrees as a unit vector from the Earth's centre."""
    phi, theta = math.radians(latitude), math.radians(longitude)
    return math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi)


def kilometres(first: Point, second: Point) -> float:
    """Return the great-circle distance of two points."""
    # Computed from the chord: for near points, the arc cosine of the product is inexact.
    return 2 * EARTH_KM * math.asin(min(1.0, math.dist(first, second) / 2))


def nearest(index: int, points: Sequence[Point]) -> int:
    """Return the index of the point that is nearest to the one at *index*."""
    x, y, z = points[index]
    # The largest product is the smallest distance, without a root and an arc for each pair.
    products = [x * u + y * v + z * w for u, v, w in points]
    products[index] = -2.0
    return products.index(max(products))
