// `postern schema`: its options. The schema is generated in ../../config/document/json-schema.ts.

import { stdout } from '../../print.ts'
import { subcommand } from './subcommand.ts'

export const schema = subcommand({
  name: 'schema',
  summary: 'the JSON Schema of postern.yaml, for editors',
  description:
    'Prints the JSON Schema of the document of settings. Write it beside the document:\n' +
    '  postern schema > postern.schema.json',
  define(command) {
    command.allowExcessArguments(false)
  },
  async run() {
    const { jsonSchema } = await import('../../config/document/json-schema.ts')
    stdout.write(jsonSchema())
    return 0
  },
})
