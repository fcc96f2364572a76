// Counts requests in this gate's memory.

import type { Counters } from '../state/port.ts'
import { buckets, ratedBuckets } from '../state/memory/bucket.ts'
import { concurrency } from '../state/memory/concurrency.ts'
import { spendCaps } from '../state/memory/spend.ts'

export const memoryCounters: Counters = { buckets, ratedBuckets, concurrency, spendCaps }
