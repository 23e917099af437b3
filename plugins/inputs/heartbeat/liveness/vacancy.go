package liveness

import "container/list"

// vacancies are the nameless peers of each source whose place the next
// unknown pid of their address may take, so that a client without a name
// leaves no ghost when it is restarted. Who ended first goes first.
type vacancies map[string]*list.List

func (v vacancies) add(p *peer) {
	if p.vacancy != nil || !p.id.Nameless() {
		return
	}
	queue := v[p.id.Source]
	if queue == nil {
		queue = list.New()
		v[p.id.Source] = queue
	}
	p.remember().vacancy = queue.PushBack(p)
}

func (v vacancies) remove(p *peer) {
	if p.vacancy == nil {
		return
	}
	queue := v[p.id.Source]
	queue.Remove(p.vacancy)
	p.remember().vacancy = nil
	if queue.Len() == 0 {
		delete(v, p.id.Source)
	}
}

// first returns the peer of source that has been vacant longest, or nil.
func (v vacancies) first(source string) *peer {
	queue := v[source]
	if queue == nil {
		return nil
	}
	return queue.Front().Value.(*peer)
}
