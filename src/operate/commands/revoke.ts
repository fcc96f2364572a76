// `postern revoke`: its options. The work is done in ../enroll.ts.

import { revokeByName } from '../enroll.ts'
import { EXIT } from '../exit.ts'
import { identitiesFrom } from './identities.ts'
import { nowSeconds, output } from './output.ts'
import { failed, subcommand } from './subcommand.ts'
import { withRecords } from './with-records.ts'

export const revoke = subcommand({
  name: 'revoke',
  synopsis: 'revoke NAME',
  summary: 'ends a device, family, token or code, on a running gate too',
  description:
    'Ends a device (its label, its hash or its own id), a family (fam_…), a token (tok_…), ' +
    'a code (code:N), or all devices of a user (user:ID) or an organisation (org:ID).',
  define: (command) => command.argument('<name>').allowExcessArguments(false),
  readsSettings: true,
  run({ words }, env) {
    const by = identitiesFrom(env)
    if (!by.ok) return failed(by.message, EXIT.config)
    const name = words[0] ?? ''
    return withRecords(env, 'existing', (records) =>
      revokeByName(records, name, by, output, nowSeconds()),
    )
  },
})
