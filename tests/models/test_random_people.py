"""Random people: valid, different from each other, plausible."""

from __future__ import annotations

import pytest

from core.errors import InputError
from models.body.wardrobe import AvatarSpec, load_avatar, random_avatar
from models.body.wardrobe.spec import linear


def people(count: int = 200) -> list[AvatarSpec]:
    return [AvatarSpec.model_validate(random_avatar(seed, f"p{seed}")) for seed in range(count)]


def test_everyone_is_valid_and_nobody_is_twice_there() -> None:
    everyone = people()
    assert len({person.model_copy(update={"name": "x", "title": "", "description": ""}) for person in everyone}) == 200


def test_a_crowd_is_mixed() -> None:
    everyone = people()
    women = sum(person.phenotype.gender for person in everyone) / len(everyone)
    assert 0.4 < women < 0.6
    assert len({person.skin.tone for person in everyone}) >= 5
    assert {person.hair.kind for person in everyone} == {"short", "long", "tied", "afro"}
    assert max(person.phenotype.age for person in everyone) > 0.85 > 0.65 > min(p.phenotype.age for p in everyone)
    worn = {garment.kind for person in everyone for garment in person.outfit}
    assert {"jeans", "shirt", "jacket", "shorts", "skirt", "coat", "shoes"} <= worn


def test_everyone_is_plausible() -> None:
    for person in people():
        kinds = [garment.kind for garment in person.outfit]
        assert kinds.count("shoes") == 1
        assert set(kinds) & {"jeans", "trousers", "leggings", "shorts", "skirt"}, "no legwear"
        assert set(kinds) & {"t-shirt", "shirt", "hoodie", "sweater"}, "no top"
        assert person.skin.stubble == 0 or person.phenotype.gender < 0.5
        fair_hair = linear(person.hair.color).mean() > 0.2
        young = person.phenotype.age < 0.8
        dark_skin = linear(person.skin.tone).mean() < 0.15
        assert not (fair_hair and young and dark_skin)


def test_a_random_person_is_named_by_the_seed() -> None:
    assert load_avatar("random-7") == load_avatar("random-7")
    assert load_avatar("random-7").name == "random-7"
    assert load_avatar("random-7").phenotype != load_avatar("random-8").phenotype


@pytest.mark.parametrize(
    "name", ["random", "random-", "random--1", "random-07", "random-1e3", "random-1000000", "random-²"]
)
def test_what_is_no_seed_names_nobody(name: str) -> None:
    with pytest.raises(InputError, match="no avatar named"):
        load_avatar(name)
