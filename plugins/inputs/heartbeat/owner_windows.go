package heartbeat

// giveAway does nothing: there is no root whose sockets others cannot use.
func giveAway(string) {}
