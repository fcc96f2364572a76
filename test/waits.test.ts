// Suites that mostly wait, for silence, deadlines, breaks and drains, run as
// one file so that they wait at the same time.

import './stream/pacing.ts'
import './stream/death.ts'
import './stream/timeouts.ts'
import './stream/drain.ts'
