"""Settings for all tests: one thread, no network, no colours, reproducible properties."""

from __future__ import annotations

import os
import signal

# Under `nohup` or a shell's `&`, Ctrl-C is ignored and every child inherits that; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before torch and FAISS are imported: tests compare bits, and share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["NO_COLOR"] = "1"
os.environ["COLUMNS"] = "120"

from hypothesis import HealthCheck, settings

settings.register_profile(
    "lqtse", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lqtse")
