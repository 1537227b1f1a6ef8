package main

import (
	"testing"
	"time"
)

func TestBucketsHoldTheirValues(t *testing.T) {
	for _, nanoseconds := range []uint64{0, 1, 127, 128, 129, 255, 256, 257, 1000, 99_999, 1 << 20, 1<<40 + 12345} {
		top := valueOf(bucketOf(nanoseconds))
		if top < float64(nanoseconds) || top > float64(nanoseconds)*1.01 {
			t.Errorf("%d falls into a bucket that ends at %f", nanoseconds, top)
		}
	}
}

func TestQuantiles(t *testing.T) {
	h := newHistogram()
	for us := 1; us <= 1000; us++ {
		h.record(time.Duration(us) * time.Microsecond)
	}
	for q, wanted := range map[float64]float64{0.5: 500, 0.99: 990, 0.999: 999} {
		if got := h.quantile(q); got < wanted || got > wanted*1.01 {
			t.Errorf("quantile %f is %f, not %f", q, got, wanted)
		}
	}
}
