from __future__ import annotations

import pytest

from timber import ConfigurationError, NotificationService, Template, Timber, ValidationError


@pytest.fixture
def notifications(timber: Timber) -> NotificationService:
    return timber.notifications


def fields(error: pytest.ExceptionInfo[ValidationError]) -> set[str]:
    return {problem.field for problem in error.value.errors}


@pytest.mark.parametrize("name", ["own", 7, ["own"]])
async def test_what_is_no_template_is_refused(notifications, name):
    for template in ("text", None) if name == "own" else (Template("own", "x", "y"),):
        with pytest.raises(ValidationError):
            notifications.register_template(name, template)
    with pytest.raises(ValidationError, match="is not one of"):
        await notifications.notify("user-1", "own", {})


@pytest.mark.parametrize(
    ("template", "context", "title", "priority"),
    [
        (
            "research_complete",
            {"symbol": "AAPL", "research_type": "technical"},
            "Research on AAPL is complete",
            "normal",
        ),
        (
            "simulation_complete",
            {"name": "monte carlo", "result": 0.93},
            "Simulation monte carlo is complete",
            "normal",
        ),
        ("tracker_alert", {"symbol": "MSFT", "reason": "below 300"}, "Alert: MSFT", "high"),
    ],
)
async def test_the_built_in_templates(notifications, template, context, title, priority):
    made = await notifications.notify("user-1", template, context)
    assert (made.notification_type, made.title, made.priority) == (template, title, priority)
    for value in context.values():
        assert str(value) in made.title + made.content
    assert made.metadata == {"template": template}


async def test_what_fills_a_template_is_escaped_and_not_looked_through_for_gaps(notifications):
    reason = "<script>alert('x')</script> & {symbol}"
    made = await notifications.notify(
        "user-1", "tracker_alert", {"symbol": "<b>", "reason": reason}
    )
    assert made.title == "Alert: &lt;b&gt;"
    assert made.content.endswith("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; {symbol}")


async def test_keys_that_the_context_lacks_are_named(notifications):
    with pytest.raises(ValidationError) as caught:
        await notifications.notify("user-1", "tracker_alert", {"reason": None, "other": 1})
    assert fields(caught) == {"context.symbol", "context.reason"}
    with pytest.raises(ValidationError) as caught:
        await notifications.notify("user-1", "tracker_alert", "AAPL")
    assert fields(caught) == {"context"}


async def test_an_unknown_template_is_refused_with_those_there_are(notifications):
    with pytest.raises(ValidationError, match="research_complete, simulation_complete") as caught:
        await notifications.notify("user-1", "nonsense", {})
    assert fields(caught) == {"template"}


async def test_a_template_can_be_registered_once_and_in_one_service_only(timber):
    notifications = NotificationService(timber.db, registry=timber.registry)
    welcome = Template("welcome", "Hello {name}", "<p>Hello {name}!</p>", priority="low")
    notifications.register_template("welcome", welcome)
    made = await notifications.notify("user-1", "welcome", {"name": "O'Neill"})
    assert made.content == "<p>Hello O&#x27;Neill!</p>"
    assert made.priority == "low"
    with pytest.raises(ConfigurationError, match="already"):
        notifications.register_template("welcome", welcome)
    with pytest.raises(ValidationError):
        await timber.notifications.notify("user-1", "welcome", {"name": "x"})


@pytest.mark.parametrize("text", ["{", "}", "{}", "{a.b}", "{a!r}", "{a:>10}", "{{a}}", "{0}"])
def test_a_template_with_anything_but_plain_gaps_is_refused(text):
    with pytest.raises(ConfigurationError, match="no gap"):
        Template("t", "title", text)


async def test_a_service_can_be_given_templates_and_may_replace_a_built_in_one(timber):
    mine = Template("alert", "{symbol}!", "Look at {symbol}.")
    service = NotificationService(
        timber.db, registry=timber.registry, templates={"tracker_alert": mine}
    )
    made = await service.notify("user-1", "tracker_alert", {"symbol": "AAPL"})
    assert (made.notification_type, made.title) == ("alert", "AAPL!")
