// Prints whether the app's first hook may make a request wait, for test/accept/composed.test.ts.

import { gate } from '../../src/accept/app.ts'
import { partsWith } from './routes.ts'

console.log(gate(partsWith('tinfoil')).fetch.constructor.name)
process.exit(0)
