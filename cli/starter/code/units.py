"""Small conversions between units of everyday life."""


def celsius_to_fahrenheit(celsius: float) -> float:
    """Convert a temperature in degrees Celsius to degrees Fahrenheit.

    Water freezes at 0 °C, which is 32 °F, and one degree Celsius is 1.8 degrees Fahrenheit.
    """
    return celsius * 9 / 5 + 32


def clock_time(minutes: int) -> str:
    """Write minutes after midnight as a clock time, such as `07:05` for 425.

    The count starts again at midnight, so 1445 is `00:05`.
    """
    hours, rest = divmod(minutes % 1440, 60)
    return f"{hours:02d}:{rest:02d}"


def pounds_and_ounces(grams: float) -> tuple[int, float]:
    """Split a weight in grams into whole pounds and the ounces left over.

    One ounce is 28.349523125 g, and 16 ounces make a pound.
    """
    ounces = grams / 28.349523125
    pounds = int(ounces // 16)
    return pounds, round(ounces - 16 * pounds, 1)


def litres_per_100_km(litres: float, kilometres: float) -> float:
    """Fuel used on a trip, as litres for every 100 km.

    Raises:
        ValueError: when the distance is zero or negative.
    """
    if kilometres <= 0:
        raise ValueError("the distance must be greater than zero")
    return round(100 * litres / kilometres, 1)
