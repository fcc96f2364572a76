// Builds `postern/client` for those who have no Bun: one file of plain JavaScript that Node 20 and
// Electron run, and its types. `bun tools/build-client.ts [folder]`. Not part of the binary.

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = new URL('..', import.meta.url).pathname

/** The types are api.ts itself, which imports nothing, and the functions beside them. */
const TYPES = `// The types of postern/client.

import type { Client, ConnectOptions, Storage } from './api.js'

export type * from './api.js'

/** Resolves after the first look. Throws where \`baseUrl\` is one that no token may be sent to. */
export declare function connect(options: ConnectOptions): Promise<Client>
/** Files of this user alone; the folder, a folder of its own, is made where there is none. */
export declare function fileStorage(folder?: string): Storage
/** For one process, and as long as it lives. */
export declare function memoryStorage(): Storage
/** Where \`fileStorage()\` keeps them unless told otherwise. */
export declare function dataFolder(): string
`

export async function buildClient(folder: string): Promise<void> {
  const result = await Bun.build({
    entrypoints: [join(root, 'src/client/client.ts')],
    outdir: folder,
    target: 'node',
    format: 'esm',
    packages: 'external',
  })
  if (!result.success) throw new AggregateError(result.logs, 'cannot build postern/client')
  mkdirSync(folder, { recursive: true })
  copyFileSync(join(root, 'src/client/api.ts'), join(folder, 'api.d.ts'))
  writeFileSync(join(folder, 'client.d.ts'), TYPES)
}

if (import.meta.main) await buildClient(Bun.argv[2] ?? join(root, 'dist'))
