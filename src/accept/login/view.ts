// The states that the page can show, and what a page consists of.

import type { SessionStatus } from '../../login/session-status.ts'
import type { RefusalCode } from '../../refusal.ts'
import type { Markup } from './markup.ts'

export type View =
  | { readonly kind: 'signed_out'; readonly mayPaste: boolean; readonly justNow: boolean }
  | {
      readonly kind: 'under_way'
      readonly link: URL
      /** The host that the link leads to in the end. */
      readonly provider: string
      readonly paste: boolean
      readonly minutes: number
    }
  | {
      readonly kind: 'signed_in'
      readonly status: SessionStatus
      /** Only if it was just made. */
      readonly key: string | undefined
      /** The URL that programs should use. */
      readonly baseUrl: string
    }
  | {
      readonly kind: 'refused'
      readonly code: RefusalCode
      readonly mayPaste: boolean
      readonly retryAfterSeconds: number | undefined
    }

export interface PageContent {
  readonly title: string
  readonly main: Markup
}
