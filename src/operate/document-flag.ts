// The flag by which a command is told the document with the settings, as the gate is.

import { DOCUMENT_FLAG, DOCUMENT_VARIABLE, type ProcessEnvironment } from '../config/given.ts'

/** For commander. */
export const DOCUMENT_OPTION = [
  `${DOCUMENT_FLAG} <file>`,
  `The document with the settings (default: ${DOCUMENT_VARIABLE}).`,
] as const

export interface DocumentFlag {
  readonly config?: string
}

/** The environment, with the flag's document in place of its own. */
export const documentIn = (
  { config }: DocumentFlag,
  env: ProcessEnvironment,
): ProcessEnvironment => (config === undefined ? env : { ...env, [DOCUMENT_VARIABLE]: config })
