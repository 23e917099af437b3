package liveness

import "slices"

// A proof is what is kept of a peer so that nobody else can speak for it. It is
// apart because most peers are neither signed nor beat over a Unix socket.
type proof struct {
	runs  []SignedRun // the one that spoke last is the first
	floor int64       // the latest SentMS of the runs that were forgotten; 0 for none
	owner uint32      // the user that it belongs to; 0 for none
}

// noProof is the proof of those that have none. It is only read.
var noProof proof

// proven returns what is kept of p.
func (p *peer) proven() *proof {
	if p == nil || p.proof == nil {
		return &noProof
	}
	return p.proof
}

// prove returns the proof of p to write to it.
func (p *peer) prove() *proof {
	if p.proof == nil {
		p.proof = new(proof)
	}
	return p.proof
}

// Foreign reports whether a peer belongs to another user than the one that
// speaks for it. Until it has left, only root may take it over.
func (t *Tracker) Foreign(b *Beat) bool {
	if b.User == 0 {
		return false
	}
	p := t.known(b)
	owner := p.proven().owner
	return owner != 0 && owner != b.User && p.state != Left
}

// own lets a peer belong to the user that speaks for it, if that is a common one
// who may.
func (p *peer) setOwner(user uint32) {
	if user != 0 && p.proven().owner != user {
		p.prove().owner = user
	}
}

// proof returns what r says that is to be kept of its peer. A record that knows
// of no signed runs but of a time is of a collector that kept no more.
func (r *Record) proof() *proof {
	if len(r.Signed) == 0 && r.SentMS == 0 && r.Owner == 0 {
		return nil
	}
	p := &proof{runs: slices.Clone(r.Signed), floor: r.SentMS, owner: r.Owner}
	if len(p.runs) > 0 || p.floor == 0 {
		return p
	}
	for _, run := range r.Runs {
		if run.High > 0 { // else a crash has made it forgotten
			p.runs = append(p.runs, SignedRun{run.Name, run.High, r.SentMS, r.SentMS})
		}
	}
	return p
}
