// Opens a link in the user's browser. The link is one word of an argument list: no shell reads it. The
// browser does not share our terminal, and outlives us.

import { spawn } from 'node:child_process'

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether our output goes to a terminal and not to a program. */
  readonly onTerminal: boolean
  /** `--browser`, `--no-browser`; undefined if neither was given. */
  readonly wanted: boolean | undefined
}

/** Nobody sees a browser on the remote side of an SSH connection, except through its display. */
export function mayOpenBrowser({ env, onTerminal, wanted }: Surroundings): boolean {
  const farAway = (env['SSH_CONNECTION'] ?? '') !== '' && (env['DISPLAY'] ?? '') === ''
  return !farAway && (wanted ?? onTerminal)
}

/** False if there is no program to open it with. Whether a window appeared is unknown. */
export function openBrowser(url: URL, platform: string = process.platform): boolean {
  const [name, ...words] = opener(platform)
  const file = Bun.which(name)
  if (file === null) return false
  try {
    // Detached, in a session of its own, so that a text browser cannot take over our terminal.
    const child = spawn(file, [...words, url.href], { stdio: 'ignore', detached: true })
    child.once('error', () => {})
    child.unref()
    return true
  } catch {
    return false
  }
}

function opener(platform: string): readonly [string, ...string[]] {
  if (platform === 'darwin') return ['/usr/bin/open']
  // Does what `start` does, which is built into cmd.exe, where an `&` in a link begins a command.
  if (platform === 'win32') return ['rundll32.exe', 'url.dll,FileProtocolHandler']
  return ['xdg-open']
}
