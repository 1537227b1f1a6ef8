package main

import (
	"math"
	"math/bits"
	"time"
)

// Each power of two of nanoseconds has this many buckets: less than 1 % apart.
const bucketsPerOctave = 128

// A histogram of latencies that one goroutine writes.
type histogram struct {
	counts [64 * bucketsPerOctave]int64
	total  int64
}

func newHistogram() *histogram { return &histogram{} }

func bucketOf(nanoseconds uint64) int {
	if nanoseconds < bucketsPerOctave {
		return int(nanoseconds)
	}
	octave := bits.Len64(nanoseconds) - 8
	return (octave+1)*bucketsPerOctave + int(nanoseconds>>octave) - bucketsPerOctave
}

// The largest latency of a bucket.
func valueOf(bucket int) float64 {
	if bucket < 2*bucketsPerOctave {
		return float64(bucket)
	}
	octave := bucket/bucketsPerOctave - 1
	return float64((bucket%bucketsPerOctave+bucketsPerOctave+1)<<octave - 1)
}

func (h *histogram) record(latency time.Duration) {
	h.counts[bucketOf(uint64(max(latency, 0)))]++
	h.total++
}

func (h *histogram) add(other *histogram) {
	for bucket, count := range other.counts {
		h.counts[bucket] += count
	}
	h.total += other.total
}

// In microseconds; 0 if nothing was recorded.
func (h *histogram) quantile(q float64) float64 {
	wanted := int64(math.Ceil(q * float64(h.total)))
	var seen int64
	for bucket, count := range h.counts {
		seen += count
		if count > 0 && seen >= wanted {
			return valueOf(bucket) / 1000
		}
	}
	return 0
}
