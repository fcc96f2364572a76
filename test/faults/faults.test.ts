// Faults between the gate and each of its neighbours, in one file so that they are waited for at the
// same time. A test that is not concurrent ends such a group: what has one comes last.

import './upstream.ts'
import './jwks.ts'
import './client.ts'
