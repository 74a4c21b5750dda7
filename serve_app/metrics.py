"""Ray's own metrics: every node's agent offers them in Prometheus's text format; here they come from one address."""

from __future__ import annotations

import asyncio

import httpx

TIMEOUT_S = 3.0


async def ray_metrics() -> str:
    """The metrics of all nodes that answer, one after another; empty where Ray does not run in this process."""
    import ray

    if not ray.is_initialized():
        return ""
    nodes = await asyncio.to_thread(ray.nodes)
    addresses = [
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        for node in nodes
        if node.get("Alive") and node.get("MetricsExportPort")
    ]
    # Ray's agents are reached directly, whatever proxies the environment names.
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        answers = await asyncio.gather(*(client.get(address) for address in addresses), return_exceptions=True)
    return "".join(answer.text for answer in answers if isinstance(answer, httpx.Response) and answer.is_success)
