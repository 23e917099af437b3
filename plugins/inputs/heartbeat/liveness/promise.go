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
			by = b.Run
		}
		p.setWindow(max(p.windowV, p.heardV+b.BackIn), by)
	case p.state == Left && b.Run != "" && !known:
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

func (p *peer) closeWindow() { p.setWindow(0, "") }

// keepPromise closes the window of p, which was heard of in it, if that is what
// was promised. Who was announced by hand has to come back as another process
// or after a boot: the same one beats on until it is stopped. A sender that
// promised it for itself is back when its next run speaks of p, be it of its death.
func (p *peer) keepPromise(b *Beat) {
	if p.windowBy != "" && b.Run != "" && b.Run != p.windowBy {
		p.closeWindow()
	}
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
