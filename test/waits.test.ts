// Suites that mostly wait, for silence and deadlines, run as one file so that they
// wait at the same time. A test that is not concurrent ends such a group: what has one comes last.

import './stream/pacing.ts'
import './stream/timeouts.ts'
