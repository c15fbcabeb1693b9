"""The commands that are sent as lines: how one looks, and how many of them a view has counted."""

import dataclasses
import json
import typing

MAKES = (("Toyota", "Land Cruiser"), ("Audi", "Q3"), ("Chevrolet", "Malibu"), ("BMW", "3 Series"), ("Acura", "RLX"))
CATEGORIES = ("SUV", "Sedan", "Coupe, Convertible", "Pickup")
FLAVOURS = ("lemon", "chocolate", "vanilla", "pistachio")
FOODS, SHOPS, DAYS, QUANTITIES = 100, 10, 28, 3
# Odd, so that numbers that follow each other become ids that lie anywhere, each another one.
SCATTER = 0x9E3779B97F4A7C15F39CC0605CEDC835


@dataclasses.dataclass
class Kind:
    """A kind of command."""

    path: str
    line: typing.Callable
    # A view that counts them, and how much one adds to the total of its fields.
    view: str
    field: str
    adds: typing.Callable = lambda number: 1
    # Lines in a request; a request has at most 8 MiB.
    each: int = 50_000

    def bodies(self, lines):
        """So many lines, as bodies."""
        for start in range(0, lines, self.each):
            yield "".join(map(self.line, range(start, min(start + self.each, lines)))).encode()

    def check(self, server, lines):
        """Exactly these lines must be in the view."""
        expected = sum(map(self.adds, range(lines)))
        rows = json.loads(server.get(f"/views/{self.view}?limit=1000")[1])["data"]
        found = sum(row[self.field] for row in rows)
        if found != expected:
            raise SystemExit(f"{self.view}: {found} instead of {expected}")


def food(number):
    return f'{{"food":"food {number % FOODS}"}}\n'


def detection(number):
    make, model = MAKES[number % len(MAKES)]
    category = CATEGORIES[number % len(CATEGORIES)]
    return f'{{"Year":{1992 + number % 29},"Make":"{make}","Model":"{model}","Category":"{category}"}}\n'


def purchase(number):
    return (f'{{"purchase_id":"{uuid(number * SCATTER)}","shop_id":"{uuid(number % SHOPS)}",'
            f'"timestamp":"2024-02-{1 + number % DAYS:02}T12:00:00Z","scoops":[{{"type":"{FLAVOURS[number % len(FLAVOURS)]}",'
            f'"quantity":{quantity(number)},"price":150}}]}}\n')


def quantity(number):
    return 1 + number % QUANTITIES


def uuid(number):
    digits = f"{number % 2**128:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


FOOD = Kind("/foods", food, "food_counts", "count", each=200_000)
DETECTION = Kind("/detections", detection, "vehicles_per_make", "count")
PURCHASE = Kind("/purchases", purchase, "scoops_by_day", "value", quantity, each=20_000)
