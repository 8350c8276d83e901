from tests.client.conftest import cluster, region, tls

__all__ = ["cluster", "region", "tls"]
