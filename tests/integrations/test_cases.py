"""The same HTTP answers from both frameworks, on real servers."""

from __future__ import annotations

import pytest

from tests.harness.serving import Client
from tests.integrations.cases import CASES, Case


def test_the_list_is_long_enough_and_names_each_case_once():
    names = [case.__name__ for case in CASES]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("case", CASES, ids=[case.__name__ for case in CASES])
async def test_each_application_answers_alike(web: Client, case: Case):
    await case(web)
