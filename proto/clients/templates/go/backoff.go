package mulligan

import (
	"math/rand"
	"time"
)

// backoff holds the waits of one call: jittered, growing, bounded by how long it may take.
type backoff struct {
	patience time.Duration
	step     time.Duration
	until    time.Time
}

func newBackoff(patience time.Duration) *backoff {
	waits := &backoff{patience: patience}
	waits.restart()
	return waits
}

// restart begins anew: something got through.
func (waits *backoff) restart() {
	waits.step = figureFirst
	waits.until = time.Now().Add(waits.patience)
}

// left returns the time until the patience ends; never below zero.
func (waits *backoff) left() time.Duration {
	if left := time.Until(waits.until); left > 0 {
		return left
	}
	return 0
}

// next returns the wait before the next attempt, and false when time is up. What the service asks
// for is jittered upwards, so that those who were refused together do not return together.
func (waits *backoff) next(asked time.Duration) (time.Duration, bool) {
	var wait time.Duration
	if asked > 0 {
		wait = time.Duration(float64(asked) * (1 + rand.Float64()/4))
	} else {
		wait = time.Duration(float64(waits.step) * (0.5 + rand.Float64()/2))
		waits.step = time.Duration(float64(waits.step) * figureGrowth)
		if waits.step > figureLongest {
			waits.step = figureLongest
		}
	}
	return wait, wait < waits.left()
}
