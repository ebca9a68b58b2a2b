"""Sending to user-1, and taking what a subscription gives."""

from __future__ import annotations

import asyncio

from timber import NotificationDTO, Subscription, Timber


async def send(timber: Timber, title: str = "t", user_id: str = "user-1") -> NotificationDTO:
    return await timber.notifications.create_notification(user_id, "n", title=title, content="c")


async def take(
    subscription: Subscription[NotificationDTO], number: int, seconds: float = 10
) -> list[str]:
    """The titles of so many rows."""
    async with asyncio.timeout(seconds):
        return [(await anext(subscription)).title for _ in range(number)]


async def is_quiet(subscription: Subscription[NotificationDTO], seconds: float = 0.2) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await anext(subscription)
    except TimeoutError:
        return True
    return False
