package liveness

import "time"

// promise notes what a goodbye says of coming back: a promise opens a window,
// or makes it longer. A goodbye without one changes none, so that a planned
// stop in a window is not the end of it; unless somebody says it by hand of who
// has left already: that one will not come back. known tells whether the run
// has been heard of before.
func (t *Tracker) promise(p *peer, b *Beat, known bool) {
	switch {
	case b.BackIn > 0:
		by := p.windowBy
		if p.windowV == 0 && known {
			by = b.life()
		}
		p.setWindow(max(p.windowV, p.heardV+b.BackIn), by)
		p.editPast().shared, p.changed = p.host.hears(by), true
	case p.state == Left && b.life() != "" && !known:
		t.expectNoMore(p)
		for _, service := range p.host.peers {
			if p.host.own == p && service.state == Left && service.follows() {
				t.expectNoMore(service)
			}
		}
	}
}

func (t *Tracker) expectNoMore(p *peer) {
	p.closeWindow()
	t.rewake(p)
}

func (p *peer) closeWindow() {
	p.setWindow(0, "")
	if p.postponed || p.shared {
		past := p.editPast()
		past.postponed, past.shared = false, false
	}
}

// keepPromise closes the window of p, which was heard of in it, if that is what
// was promised. Who was announced by hand has to come back as another process
// or after a boot: the same one beats on until it is stopped. A sender that
// promised it for itself is back when its next run speaks of p, be it of its death.
func (p *peer) keepPromise(b *Beat) {
	if p.windowBy != "" && b.life() != "" && b.life() != p.windowBy {
		p.closeWindow()
	}
}

// cancel takes back the promise of p, and with that of a host those of its
// services. Whoever has left because of it is expected again.
func (t *Tracker) cancel(p *peer, now time.Time) {
	t.expect(p, now)
	for _, service := range p.host.peers {
		if p.host.own == p && service != p && service.follows() {
			t.expect(service, now)
		}
	}
}

// expect ends the window of p: at once if it beats, else when its silence has
// been as long as it may be.
func (t *Tracker) expect(p *peer, now time.Time) {
	switch {
	case p.windowV == 0:
		return
	case p.state == Left:
		p.setWindow(min(p.windowV, t.verdict(now)+t.silence(p, &p.process).Dead), "")
	default:
		p.closeWindow()
	}
	t.rewake(p)
}

// rounds is in how many intervals of a sender all that it watches is named: so
// many of them for the host without a word about a service, and it is not watched
// any more.
const rounds = 3

// successor returns the sender that beats for the host of p after the one that
// has promised p back, if that did so too.
func (p *peer) successor() (speaker, bool) {
	own := p.host.own
	if own == nil || own == p || p.windowBy == "" || !p.shared {
		return speaker{}, false
	}
	for _, s := range p.host.speakers {
		if s.life != "" && s.life != p.windowBy && s.sinceV > p.heardV {
			return s, true
		}
	}
	return speaker{}, false
}

// dropped reports whether p, which is not back, is watched no more: the next
// life of its sender has beaten for the host for so long and never named it.
func (t *Tracker) dropped(p *peer) bool {
	s, yes := p.successor()
	return yes && s.heardV-s.sinceV >= rounds*p.host.own.span()
}

// putOff puts the end of the window of p off, once, while it may still turn out
// that p is watched no more: by as much as was promised, at the most.
func (t *Tracker) putOff(p *peer) bool {
	s, yes := p.successor()
	if own := p.host.own; !yes || p.postponed || t.dropped(p) || own.state != Alive {
		return false
	}
	past := p.editPast()
	past.postponed, p.changed = true, true
	past.windowV = min(s.sinceV+(rounds+1)*p.host.own.span(), 2*p.windowV-p.heardV)
	return true
}

// promiseV returns when the promise ends that holds for p: its own, or the one
// of its host.
func (p *peer) promiseV() time.Duration {
	window := p.windowV
	if own := p.host.own; own != nil {
		window = max(window, own.windowV)
	}
	return window
}
