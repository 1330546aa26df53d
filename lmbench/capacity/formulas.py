"""Closed forms of queues, printed beside the simulation as a check: first come first served, Poisson arrivals unless said.

Rates in requests/s, times in seconds, `servers` is the number of requests served at once, `load` is rate * service / servers.
"""

from __future__ import annotations

import math


def erlang_b(servers: int, offered: float) -> float:
    """Probability that all of `servers` are busy when nobody waits; `offered` = rate * service time, in erlangs.

    By the recursion B(k) = a B(k-1) / (k + a B(k-1)) (Erlang 1917; Jagerman 1974), which neither over- nor underflows.
    """
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Probability that a request waits in M/M/k (Erlang 1917): C = B / (1 - load (1 - B)); 1 from a load of 1 on."""
    load = offered / servers
    if load >= 1:
        return 1.0
    blocked = erlang_b(servers, offered)
    return blocked / (1 - load * (1 - blocked))


def mmk_mean_wait(servers: int, rate: float, service_s: float) -> float:
    """Mean wait of M/M/k: C / (k / service - rate); infinite from a load of 1 on."""
    spare = servers / service_s - rate
    return math.inf if spare <= 0 else erlang_c(servers, rate * service_s) / spare


def shared_mean_delay(capacity: float, rate: float, service_s: float) -> float:
    """Mean of what sharing adds to a request, where n in service get min(1, capacity / n) of their speed each; Poisson arrivals.

    However service times vary (Cohen 1979, "The multiple phase service network with generalized processor sharing"): the number
    in service is that of a birth and death process with deaths min(n, capacity) / service, by Little's law. For whole
    capacities it is the mean wait of M/M/k.
    """
    offered = rate * service_s
    if offered >= capacity:
        return math.inf
    weight, total, number, inside = 1.0, 1.0, 0.0, 0
    while inside + 1 <= capacity:
        inside += 1
        weight *= offered / inside
        total += weight
        number += inside * weight
    # From here on each state is offered / capacity as likely as the one before.
    ratio = offered / capacity
    total += weight * ratio / (1 - ratio)
    number += weight * (inside * ratio / (1 - ratio) + ratio / (1 - ratio) ** 2)
    return number / total / rate - service_s


def mmk_wait_quantile(servers: int, rate: float, service_s: float, share: float) -> float:
    """The wait that `share` of the requests do not exceed in M/M/k, from P(W > t) = C exp(-(k / service - rate) t)."""
    spare = servers / service_s - rate
    if spare <= 0:
        return math.inf
    waiting = erlang_c(servers, rate * service_s)
    return 0.0 if waiting <= 1 - share else math.log(waiting / (1 - share)) / spare


def mmk_latency_tail(servers: int, rate: float, service_s: float, latency_s: float) -> float:
    """P(wait + service > latency) in M/M/k, the service exponential.

    Without a wait exp(-t mu); with one, the sum of two exponentials of rates mu and k mu - rate (Gross & Harris 1998, 2.3).
    """
    mu = 1 / service_s
    spare = servers * mu - rate
    if spare <= 0:
        return 1.0
    waiting = erlang_c(servers, rate * service_s)
    served = math.exp(-mu * latency_s)
    if math.isclose(spare, mu, rel_tol=1e-9):
        both = (1 + mu * latency_s) * served
    else:
        both = (spare * served - mu * math.exp(-spare * latency_s)) / (spare - mu)
    return (1 - waiting) * served + waiting * both


def mmk_latency_quantile(servers: int, rate: float, service_s: float, share: float) -> float:
    """The latency that `share` of the requests do not exceed in M/M/k, by bisection of its tail."""
    if rate * service_s >= servers:
        return math.inf
    low, high = 0.0, service_s
    while mmk_latency_tail(servers, rate, service_s, high) > 1 - share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if mmk_latency_tail(servers, rate, service_s, middle) > 1 - share else (low, middle)
    return high


def mg1_mean_wait(rate: float, service_s: float, service_scv: float) -> float:
    """Mean wait of M/G/1 (Pollaczek 1930, Khinchine 1932): rate E[S^2] / (2 (1 - load)).

    `service_scv` is the squared coefficient of variation of the service time: variance / mean^2.
    """
    load = rate * service_s
    return math.inf if load >= 1 else load * service_s * (1 + service_scv) / (2 * (1 - load))


def gik_mean_wait(servers: int, rate: float, service_s: float, arrival_scv: float, service_scv: float) -> float:
    """Approximate mean wait of GI/G/k (Allen 1978, after Cunneen): that of M/M/k times (arrival_scv + service_scv) / 2."""
    return mmk_mean_wait(servers, rate, service_s) * (arrival_scv + service_scv) / 2
