// `postern logout`: its options. The work is done in ../login-status.ts.

import { logout as logOut } from '../login-status.ts'
import { gateOf, type GateFlags, localGateOption } from './gate.ts'
import { io } from './output.ts'
import { subcommand } from './subcommand.ts'

export const logout = subcommand<GateFlags>({
  name: 'logout',
  summary: 'ends the sign-in',
  description: 'Ends the sign-in at the gate, and forgets its key here.',
  define: localGateOption,
  run: ({ flags }, env) => logOut({ baseUrl: gateOf(flags, env) }, io),
})
