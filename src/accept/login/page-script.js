// What the page does more smoothly where scripts run; without them its forms do the same. Each form
// is sent as it would be, and the <main> of the answer takes the place of the present one. Nothing
// is kept, nothing is asked of anybody but this gate, and no text becomes markup here: the answer
// is parsed by XMLHttpRequest into a document that runs no scripts.

const said = document.getElementById('said')

/** `heard`: for those who do not see what has changed; otherwise it is shown as well. */
function say(text, heard) {
  said.className = heard ? 'heard' : ''
  said.textContent = text
}

function show(answer) {
  const main = answer?.querySelector('main')
  if (!main) {
    say('The gate could not do that. Is it still running?', false)
    return
  }
  document.title = answer.title
  document.querySelector('main').replaceWith(document.adoptNode(main))
  dress()
  const heading = document.querySelector('h1')
  say(heading.textContent, true)
  heading.focus()
  window.scrollTo(0, 0)
}

/** What only a script can do is hidden until there is one. */
function dress() {
  for (const button of document.querySelectorAll('button[data-copy]')) button.hidden = false
  for (const time of document.querySelectorAll('time')) {
    const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
    time.title = time.dateTime
    time.textContent = format.format(new Date(time.dateTime))
  }
}

function send(form) {
  const buttons = [...form.querySelectorAll('button')]
  const busy = (on) => {
    form.ariaBusy = String(on)
    for (const button of buttons) button.ariaDisabled = String(on)
  }
  const request = new XMLHttpRequest()
  request.open('POST', form.action)
  request.responseType = 'document'
  request.setRequestHeader('accept', 'text/html')
  request.addEventListener('loadend', () => {
    busy(false)
    show(request.response)
  })
  busy(true)
  request.send(new URLSearchParams(new FormData(form)))
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy)
  try {
    await navigator.clipboard.writeText(source.textContent)
  } catch {
    getSelection().selectAllChildren(source)
    say('It is selected: copy it with the keyboard.', false)
    return
  }
  say('Copied.', true)
  const label = button.dataset.label ?? button.textContent
  button.dataset.label = label
  button.textContent = 'Copied'
  setTimeout(() => {
    button.textContent = label
  }, 2000)
}

document.addEventListener('submit', (event) => {
  event.preventDefault()
  // One that is under way is not sent again: what it carries is good for one time.
  if (event.target.ariaBusy !== 'true') send(event.target)
})

document.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-copy]')
  if (button) void copy(button)
})

// Out of the address bar and the history with the code, which is used up; a reload then shows more
// than that it is.
if (location.pathname === '/auth/callback') history.replaceState(null, '', '/auth/device')

dress()
