from tests.e2e.conftest import place, region

__all__ = ["place", "region"]
