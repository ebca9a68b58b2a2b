"""What there is of a person, in numbers."""

from __future__ import annotations

from tests.privacy.club import REGISTRY, Club
from timber.database.manager import AsyncDatabaseManager
from timber.models.config import ModelConfig
from timber.models.registry import ModelRegistry
from timber.privacy.privacy import Privacy

ADA, BOB = "user-ada", "user-bob"


async def test_a_summary_counts_the_rows_of_each_model(club: Club, privacy: Privacy) -> None:
    made = await club.join(ADA)
    await club.join(BOB, number=2)
    summary = await privacy.get_user_data_summary(ADA)
    of = {model.model: model for model in summary.models}
    assert summary.rows == 9
    assert summary.undeclared == {}
    post = of["Post"]
    assert (post.rows, post.deleted, post.route) == (2, 1, "user_id")
    assert (post.oldest, post.newest) == (made["post"].created_at, made["reply"].created_at)
    assert (post.on_erasure, post.columns) == ("delete", ())
    assert of["Comment"].route == "author or post_id -> Post"
    assert (of["Reaction"].rows, of["Reaction"].route) == (2, "comment_id -> Comment")
    assert of["Reaction"].oldest == made["reaction to comment"].at
    invoice = of["Invoice"]
    assert invoice.on_erasure == "anonymise"
    assert invoice.columns == ("customer", "name", "address", "email")
    assert (of["Device"].rows, of["Device"].oldest, of["Session"].rows) == (0, None, 0)


async def test_a_summary_says_which_models_do_not_say(db: AsyncDatabaseManager) -> None:
    diary = ModelConfig.model_validate({"name": "Diary", "table": "diaries", "mixins": ["Owner"]})
    registry = ModelRegistry(models=[diary])
    summary = await Privacy(db, registry).get_user_data_summary(ADA)
    assert summary.undeclared == {"Diary": "it has an owner, user_id"}


async def test_the_built_in_models_all_say(privacy: Privacy) -> None:
    models = await Privacy(privacy._means.db, ModelRegistry()).get_user_data_summary(ADA)
    assert models.undeclared == {}
    assert {model.model for model in models.models} == {
        "Notification",
        "ResearchData",
        "Session",
        "SessionEvent",
        "Tracker",
        "TrackerEvent",
    }
    assert REGISTRY.model_config("Session").features.personal_data is not None
