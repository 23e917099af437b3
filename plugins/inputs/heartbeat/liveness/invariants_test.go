package liveness

import "testing"

func checkInvariants(t testing.TB, tr *Tracker) { t.Helper() }
