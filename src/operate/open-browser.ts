// Shows a link in the browser of whoever sits here. The link is one word of an argument list: no
// shell ever reads it. The browser has no part of our terminal, and lives longer than we do.

import { spawn } from 'node:child_process'

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether what we say is read at a terminal, and not by a program. */
  readonly onTerminal: boolean
  /** `--browser`, `--no-browser`; undefined where neither was said. */
  readonly wanted: boolean | undefined
}

/** A browser on the far side of an SSH connection is seen by nobody, save through its display. */
export function mayOpenBrowser({ env, onTerminal, wanted }: Surroundings): boolean {
  const farAway = (env['SSH_CONNECTION'] ?? '') !== '' && (env['DISPLAY'] ?? '') === ''
  return !farAway && (wanted ?? onTerminal)
}

/** False where there is nothing to open it with; whether a window came up, nobody can tell. */
export function openBrowser(url: URL, platform: string = process.platform): boolean {
  const [name, ...words] = opener(platform)
  const file = Bun.which(name)
  if (file === null) return false
  try {
    // Detached: in a session of its own, a browser for terminals can't take ours over.
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
  // What `start` would do, which is a word of cmd.exe: to it an `&` in a link begins a command.
  if (platform === 'win32') return ['rundll32.exe', 'url.dll,FileProtocolHandler']
  return ['xdg-open']
}
