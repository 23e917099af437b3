#!/usr/bin/env python3
"""Prints the test vectors of the detectors (standard library only).

Everything above the function little was taken from the simulator in which the detector
was designed, without what is not printed; det_hb is the adaptive detector of package
liveness.

usage: reference.py golden|little|scores
  golden  arrivals and deadlines of det_hb, ../../../plugins/inputs/heartbeat/liveness/testdata/wifi101.csv
  little  arrivals and deadlines of the comparison detectors, little.csv
  scores  what the evaluation makes of them, scores.csv
"""
import csv
import math
import random
import sys
from fractions import Fraction

Y8 = 5.2256  # Akka's logistic approximation reaches phi = 8 at this many sigmas


class Trace:
    """beats: list of (arrival, seq, send) in arrival order; lost beats are absent."""

    def __init__(self, delta, beats):
        self.delta, self.beats = delta, beats


def finish(delta, sends, delays, lost, fifo):
    beats, last = [], 0.0
    for q, s in enumerate(sends):
        if lost[q]:
            continue
        a = s + delays[q]
        if fifo:
            if a < last:
                a = last
            last = a
        beats.append((a, q, s))
    if not fifo:
        beats.sort()
    return Trace(delta, beats)


def gen_wifi(seed, n):
    """WiFi or mobile sender over one TCP connection (in-order): heavy-tailed delay,
    power-save naps, bad spells (roaming, cell change) of about a minute."""
    r = random.Random("wifi%s" % seed)
    delta = 1.0
    sends, delays, lost = [], [], bytearray(n)
    bad, left = False, 900
    for q in range(n):
        if left <= 0:
            bad = not bad
            left = 1 + int(r.expovariate(1 / (60.0 if bad else 1200.0)))
        left -= 1
        sends.append(1000.0 + q * delta + abs(r.gauss(0, 0.002)))
        d = 0.015 + r.lognormvariate(math.log(0.012), 1.0)
        if r.random() < 0.02:
            d += 0.1 + 0.4 * r.random()
        if bad:
            d += min(20.0, 0.25 * r.random() ** (-1 / 1.3))
            if r.random() < 0.03:
                d += 0.2 * (2 ** r.randint(1, 6))     # TCP retransmission back-off
        elif r.random() < 0.0005:
            d += 0.3 * (2 ** r.randint(1, 4))
        delays.append(d)
    return finish(delta, sends, delays, lost, True)


def fresh(beats):
    hi = -1
    for b in beats:
        if b[1] > hi:
            hi = b[1]
            yield b


def det_fixed(tr):
    return [(a, s, a, 1.0) for a, q, s in tr.beats]


class Win:
    __slots__ = ("n", "buf", "i", "s1", "s2")

    def __init__(self, n):
        self.n, self.buf, self.i, self.s1, self.s2 = n, [], 0, 0.0, 0.0

    def add(self, x):
        if len(self.buf) < self.n:
            self.buf.append(x)
        else:
            o = self.buf[self.i]
            self.buf[self.i] = x
            self.i = (self.i + 1) % self.n
            self.s1 -= o
            self.s2 -= o * o
        self.s1 += x
        self.s2 += x * x

    def mean(self):
        return self.s1 / len(self.buf)

    def sd(self):
        m = self.s1 / len(self.buf)
        v = self.s2 / len(self.buf) - m * m
        return math.sqrt(v) if v > 0 else 0.0


def det_chen(tr, n=1000):
    """NFD-E: mean shifted arrival over the last n beats, with the TRUE interval given."""
    w, d, out, t0 = Win(n), tr.delta, [], tr.beats[0][0]
    for a, q, s in fresh(tr.beats):
        w.add(a - t0 - d * q)
        out.append((a, s, t0 + w.mean() + d * (q + 1), 1.0))
    return out


def det_phi(tr, n=1000):
    """paper's phi: normal law, no minimum deviation, no pause; k = sigmas."""
    w, out, la = Win(n), [], None
    for a, q, s in tr.beats:
        if la is not None:
            w.add(a - la)
            out.append((a, s, a + w.mean(), max(w.sd(), 1e-4)))
        la = a
    return out


def det_akka(tr, pause, n=1000, minsd=0.1):
    """Akka's code: an interval is recorded only if the peer was still available."""
    buf, i, m = [tr.delta * 0.75, tr.delta * 1.25], 0, 2
    s1 = sum(buf)
    s2 = sum(x * x for x in buf)
    out, la, dl, sqrt, lo = [], None, 0.0, math.sqrt, minsd * minsd
    for a, q, s in tr.beats:
        if la is not None and a <= dl:
            x = a - la
            if m < n:
                buf.append(x)
                m += 1
            else:
                o = buf[i]
                buf[i] = x
                i = i + 1 if i < n - 1 else 0
                s1 -= o
                s2 -= o * o
            s1 += x
            s2 += x * x
        la = a
        mean = s1 / m
        v = s2 / m - mean * mean
        b = a + mean + Y8 * (sqrt(v) if v > lo else minsd)
        dl = b + pause
        out.append((a, s, b, 1.0))
    return out


HB = dict(g=1 / 8, h=1 / 1024, clip=2.0, gd=1 / 16, cd=4.0, cap=4.0, smax=4.0)


def det_hb(tr, c=HB):
    """proposed O(1) detector, no window, three learnt numbers per peer:
      p    schedule phase, followed by sequence number (g-h tracker whose steps are clipped,
           so one late beat does not move the schedule)
      dd   interval (starts as the declared one; here 3 % wrong on purpose)
      dev  smoothed lateness: |phase error| or the lateness of the gap, whichever is
           larger, capped at 4 intervals before it is learnt
    deadline = max(p, last arrival) + dd + k * min(dd + 4 dev, 4 dd),   k = misses - 1/2
    so k scales with the weather, the half interval keeps the deadline off the instant
    at which a beat is due, and the whole wait is bounded by (1 + 4 k) intervals."""
    out, d = [], tr.delta
    g0, h0, clip, cap = c["g"], c["h"], c["clip"], c["cap"] * tr.delta
    gd, cd, smax = c["gd"], c["cd"], c["smax"]
    qp, dd, dev, p, nb = None, 0.97 * d, d / 16, 0.0, 0
    for a, q, s in fresh(tr.beats):
        if qp is None:
            p = a
        else:
            n = q - qp
            due = p + dd
            x = a - due                        # lateness of the gap
            e = x - dd * (n - 1)               # phase error of this very beat
            y = e if e >= 0 else -e
            if x > y:
                y = x
            nb += 1
            if nb > 32:
                g, h = g0, h0
                lim = clip * dev + d / 1024
                if e > lim:
                    e = lim
                elif e < -lim:
                    e = -lim
            else:                              # young: learn phase and interval quickly
                g = 2.0 / (nb + 1)
                h = g * g / 2
                g = g if g > g0 else g0
            dev += gd * ((y if y < cap else cap) - dev)
            p += dd * n + g * e
            dd += h * e / n
        qp = q
        m = dd + cd * dev
        if m > smax * dd:
            m = smax * dd
        out.append((a, s, (p if p > a else a) + dd, m))
    return out


WARM = 1000


class Curve:
    """pooled trade-off curve of one detector over several traces"""

    def __init__(self, rows_list, traces):
        self.a, self.b, self.sc, self.wait, self.r = [], [], [], [], []
        self.hours = 0.0
        for rows in rows_list:
            a, s, b, sc = zip(*rows[WARM:])
            self.hours += (a[-1] - a[0]) / 3600.0
            self.r += [(nx - y) / z for nx, y, z in zip(a[1:], b, sc)]
            self.r.append(-1e18)                      # last row of a trace: no next arrival
            self.a += a
            self.b += b
            self.sc += sc
            self.wait += [y - x for x, y in zip(s, b)]
        n = len(self.a)
        self.mb, self.ms = sum(self.wait) / n, sum(self.sc) / n
        self.half = traces[0].delta / 2
        self.unit, self.maxwait = min(self.sc) == max(self.sc) == 1.0, max(self.wait)

    def td(self, k):
        return self.mb + k * self.ms - self.half

    def k_for_td(self, td):
        return (td + self.half - self.mb) / self.ms

    def exact(self, k):
        """number of mistakes, mean and max T_D.  A late gap whose arrival is itself already
        past its own deadline does not end the mistake (Chen), so such gaps are merged."""
        mist, prev, a, b, sc = 0, -2, self.a, self.b, self.sc
        for i, x in enumerate(self.r):
            if x > k:
                dl = b[i] + k * sc[i]
                if not (prev == i - 1 and dl <= a[i]):
                    mist += 1
                prev = i
        if self.unit:
            tdmax = self.maxwait + k
        else:
            tdmax = max(map(float.__add__, self.wait, map(k.__mul__, sc)))
        return dict(td=self.td(k), tdmax=tdmax, n=mist)


def akka_curve(traces, pause):
    return Curve([det_akka(tr, pause) for tr in traces], traces)


def akka_at_td(traces, c, td):
    """what Akka records depends on its pause setting, so iterate, starting from the curve c
    of the default pause; a negative pause means that Akka cannot be that fast"""
    k = c.k_for_td(td)
    for _ in range(3):
        if k < 0:
            return c, -1.0
        c = akka_curve(traces, k)
        k2 = c.k_for_td(td)
        if abs(k2 - k) < 0.01 * traces[0].delta:
            break
        k = k2
    return c, k2


# From here on it is new: a small trace with all that the
# comparison detectors tell apart, and the printing.
def little(seed, n):
    """quiet at first; then jitter that puts beats out of order, losses and outages"""
    r = random.Random("little%s" % seed)
    sends, delays, lost, outage = [], [], bytearray(n), 0
    for q in range(n):
        sends.append(10.0 + q + r.gauss(0, 0.01))
        d = 0.05 + r.expovariate(1 / (0.01 if q < n // 4 else 0.3))
        if q >= n // 4 and r.random() < 0.02:
            d += 4.0 * r.random()
        delays.append(d)
        if q >= n // 4 and r.random() < 0.02:
            outage = r.randint(1, 8)
        outage -= 1
        lost[q] = outage >= 0
    return in_microseconds(finish(1.0, sends, delays, lost, False))


def us(x):
    """exactly rounded"""
    return round(Fraction(x) * 1000000)


def in_microseconds(tr):
    """the trace as it is printed, so that who reads it computes with the same numbers"""
    tr.beats = [(us(a) / 1e6, q, us(s) / 1e6) for a, q, s in tr.beats]
    return tr


LITTLE = [little(1, 1300), little(2, 400)]
SETTINGS = dict(fixed=2.5, akka=0.8, phi=4.0, chen=1.2)


def rows_of(name, tr):
    if name == "akka":
        return det_akka(tr, SETTINGS["akka"])
    return dict(fixed=det_fixed, phi=det_phi, chen=det_chen)[name](tr)


def print_golden(out):
    print("# the first 2000 beats of gen_wifi(101, 24000) and the deadlines of det_hb with margin 2.5:"
          " the numbers of the beats from 1, times in us since the trace's 0;"
          " det_hb starts with interval 0.97 s of the declared 1 s and dev 1/16 s."
          " Printed by: python3 internal/verdicts/testdata/reference.py golden")
    out.writerow(["seq", "arrival_us", "deadline_us"])
    tr = gen_wifi(101, 24000)
    for (a, q, s), (_, _, base, scale) in list(zip(fresh(tr.beats), det_hb(tr)))[:2000]:
        out.writerow([q + 1, us(a), us(base + 2.5 * scale)])


def print_little(out):
    print("# two traces with interval 1 s and the deadlines set by fixed 2.5 s, Akka with pause 0.8 s,"
          " phi at 4 sigmas (none for the first beat), Chen with 1.2 s (none for a late beat);"
          " all times in us."
          " Printed by: python3 internal/verdicts/testdata/reference.py little")
    out.writerow(["trace", "seq", "send_us", "arrival_us", "fixed", "akka", "phi", "chen"])
    for i, tr in enumerate(LITTLE):
        new = set(q for _, q, _ in fresh(tr.beats))
        rows = dict((name, iter(rows_of(name, tr))) for name in SETTINGS)
        for at, (a, q, s) in enumerate(tr.beats):
            cells = []
            for name, k in SETTINGS.items():
                if name == "chen" and q not in new or name == "phi" and at == 0:
                    cells.append("")
                    continue
                _, _, base, scale = next(rows[name])
                cells.append(us(base + k * scale))
            out.writerow([i, q, us(s), us(a)] + cells)


def print_scores(out):
    global WARM
    WARM = 100
    print("# the traces of little.csv without the first 100 rows of each: the knob k that gives a detector"
          " the mean detection time of a fixed wait, and its score there; k -1: it cannot be that fast."
          " Printed by: python3 internal/verdicts/testdata/reference.py scores")
    out.writerow(["detector", "wait", "k", "mistakes", "hours", "mean", "max"])
    for wait in (0.9, 2.5, 2.65, 4.0):
        fixed = Curve([det_fixed(tr) for tr in LITTLE], LITTLE)
        for name in SETTINGS:
            c = Curve([rows_of(name, tr) for tr in LITTLE], LITTLE)
            td = fixed.td(wait)
            c, k = akka_at_td(LITTLE, akka_curve(LITTLE, 3.0), td) if name == "akka" else (c, c.k_for_td(td))
            if k < 0 and name == "akka":
                out.writerow([name, wait, k, "", "", "", ""])
                continue
            e = c.exact(k)
            out.writerow([name, wait, k, e["n"], c.hours, e["td"], e["tdmax"]])


def main():
    out = csv.writer(sys.stdout, lineterminator="\n")
    dict(golden=print_golden, little=print_little, scores=print_scores)[sys.argv[1]](out)


if __name__ == "__main__":
    main()
