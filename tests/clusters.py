"""A dask cluster that meets no other one on the same machine."""

from distributed import LocalCluster


def local_cluster(n_workers, *, processes=False, **options):
    """Workers of one thread; the web server, which runs unasked, takes any free port."""
    return LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        processes=processes,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        **options,
    )
