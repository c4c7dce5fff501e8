"""Job functions and the handles on jobs. The packages below import nothing from here."""
