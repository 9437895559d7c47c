"""Runs the artifact in the nearest real runtime, compares it, and decides about budgets."""

from edgecompile.verify.budgets import check_budgets
from edgecompile.verify.results import VerifyResult
from edgecompile.verify.run import verify

__all__ = ["VerifyResult", "check_budgets", "verify"]
