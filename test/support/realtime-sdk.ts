// The official client's two realtime classes against a gate behind TLS, in a process of their own: neither
// takes a certificate of a test. Prints what they saw as JSON.

import OpenAI from 'openai'
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'

const [, , baseURL = '', apiKey = '', model = ''] = process.argv
const client = new OpenAI({ apiKey, baseURL, dangerouslyAllowBrowser: true })

type Session = OpenAIRealtimeWS | OpenAIRealtimeWebSocket

function talk(session: Session): Promise<unknown> {
  return new Promise((resolve) => {
    let text = ''
    const types = new Set<string>()
    session.on('event', ({ type }) => types.add(type))
    session.on('error', ({ message }) => resolve({ error: message }))
    session.on('session.created', () => {
      session.send({
        type: 'session.update',
        session: { type: 'realtime', instructions: 'Be brief.' },
      })
      session.send({
        type: 'conversation.item.create',
        item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Ahoy!' }] },
      })
      session.send({ type: 'response.create' })
    })
    session.on('response.output_text.delta', ({ delta }) => {
      text += delta
    })
    session.on('response.done', ({ response }) => {
      session.close()
      resolve({ text, types: [...types], usage: response.usage, status: response.status })
    })
  })
}

const secret = await client.realtime.clientSecrets.create({
  session: { type: 'realtime', model, instructions: 'Be brief.' },
})
const found = {
  ws: await talk(new OpenAIRealtimeWS({ model }, client)),
  webSocket: await talk(new OpenAIRealtimeWebSocket({ model }, client)),
  secret: await talk(
    new OpenAIRealtimeWebSocket({ model }, new OpenAI({ apiKey: secret.value, baseURL })),
  ),
  wrong: await talk(
    new OpenAIRealtimeWebSocket({ model }, new OpenAI({ apiKey: 'ek_wrong', baseURL })),
  ),
}
console.log(JSON.stringify(found))
process.exit(0)
