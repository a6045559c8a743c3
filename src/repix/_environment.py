"""Environment variables of dependencies, set in this one place before any of them is imported.

repix opens no connection of its own. Some of its dependencies report usage unless they are told not to, and most
read that wish when they are imported. A variable that the user has set stays as it is.
"""

from __future__ import annotations

import os

# onnxruntime >= 1.29 reports to Microsoft by default, and keeps a device id in the user's cache folder
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder writes pages to stderr; errors alone will do
