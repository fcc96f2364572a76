// What `--version` says. The build defines the commit; from source it is unknown.

import packageJson from '../package.json' with { type: 'json' }

declare const POSTERN_COMMIT: string | undefined

const commit = typeof POSTERN_COMMIT === 'string' ? POSTERN_COMMIT : 'from source'

export const version = `postern ${packageJson.version} (${commit}, bun ${Bun.version})`

/** Of every request that this program makes: some servers turn away those that say nothing. */
export const userAgent = `postern/${packageJson.version}`
