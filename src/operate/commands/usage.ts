// `postern usage`: its entry in the table. ../usage.ts parses its arguments, because dates among them
// depend on the current day.

import { stderr, stdout } from '../../print.ts'
import { EXIT } from '../exit.ts'
import { documentIn } from '../document-flag.ts'
import { readUsageArguments, usage as usageOf } from '../usage.ts'
import { type Subcommand, withDocument } from './subcommand.ts'
import { withRecords } from './with-records.ts'

export const usage: Subcommand = {
  name: 'usage',
  synopsis: 'usage',
  summary: 'what was used, by day, model, device, organisation or user',
  async run(args, env) {
    const read = readUsageArguments(args, Date.now())
    if (read.kind === 'mistake') {
      stderr.write(`postern usage: ${read.message}
    ${read.hint}
`)
      return EXIT.usage
    }
    if (read.kind === 'text') {
      stdout.write(read.text)
      return 0
    }
    const onTerminal = stdout.isTTY
    const color = onTerminal && (env['NO_COLOR'] ?? '') === ''
    const columns = onTerminal ? process.stdout.columns : undefined
    const terminal = { shorten: onTerminal, color, columns }
    return withDocument(documentIn(read, env), 'usage', (whole) =>
      withRecords(whole, 'read', async ({ ledger, devices, keys }) => {
        const names = { usersOfDevices: devices.users, keys: keys.names }
        stdout.write(await usageOf(ledger.reports, names, read.question, terminal))
        return 0
      }),
    )
  },
}
