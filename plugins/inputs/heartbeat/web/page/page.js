// Updates the page without a reload. The page is complete without this script.
(() => {
  'use strict';
  const pause = 2000, patience = 5000; // ms
  const at = id => document.getElementById(id);
  let ahead = Date.parse(at('made').dateTime) - Date.now(); // of the collector's clock, ms
  let timer, lostSince;

  const clock = time => new Date(time).toLocaleTimeString();

  function span(ms) {
    const s = Math.max(0, Math.round(ms / 1000));
    const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
    return d ? d + ' d ' + h + ' h' : h ? h + ' h ' + m + ' min' : m ? m + ' min ' + s % 60 + ' s' : s + ' s';
  }

  function showAges() {
    const now = Date.now() + ahead;
    for (const time of at('live').querySelectorAll('time')) {
      time.dataset.text ??= time.textContent;
      const ms = now - Date.parse(time.dateTime), coming = ms < -2000; // the clock of an answer is cut to the second
      time.textContent = time.dataset.text + (coming ? ' (in ' + span(-ms) + ')' : ' (' + span(ms) + ' ago)');
    }
  }

  const states = main => new Map([...main.querySelectorAll('tr[data-state]')].map(row => [row.cells[0].textContent, row.dataset.state]));

  function announce(before, after) {
    const news = [];
    for (const [name, state] of after) if (before.get(name) !== state) news.push(name + ' is ' + state);
    for (const name of before.keys()) if (!after.has(name)) news.push(name + ' is no longer in the list');
    if (news.length) at('news').textContent = clock(Date.now()) + ': ' + (news.length > 3 ? news.length + ' changes' : news.join(', '));
  }

  function show(page) {
    const before = states(at('live')), focused = document.activeElement;
    const find = focused.id ? '#' + focused.id : focused.href && 'a[href="' + CSS.escape(focused.getAttribute('href')) + '"]';
    const inside = at('live').contains(focused);
    at('live').replaceWith(page.getElementById('live'));
    document.title = page.title;
    if (inside && find) at('live').querySelector(find)?.focus({preventScroll: true});
    announce(before, states(at('live')));
  }

  function lose(why) {
    lostSince ??= Date.now();
    document.body.classList.add('lost');
    at('lost').hidden = false;
    const text = 'No connection to the collector since ' + clock(lostSince) + ' (' + why + '). This page is out of date.';
    if (at('lost').textContent !== text) at('lost').textContent = text;
  }

  function find() {
    if (lostSince) at('news').textContent = clock(Date.now()) + ': connected to the collector again';
    lostSince = undefined;
    document.body.classList.remove('lost');
    at('lost').hidden = true;
  }

  async function ask() {
    const answer = await fetch(location.search || '?', {
      cache: 'no-store', headers: {'If-None-Match': 'W/"' + at('live').dataset.tag + '"'}, signal: AbortSignal.timeout(patience),
    });
    if (answer.status === 200) {
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      if (!page.getElementById('live')) throw new Error('unexpected answer');
      show(page);
    } else if (answer.status !== 304) throw new Error('status ' + answer.status);
    const now = Date.parse(answer.headers.get('Date')) || Date.now() + ahead;
    ahead = now - Date.now();
    at('made').textContent = clock(Date.now());
  }

  async function poll() {
    try {
      await ask();
      find();
    } catch (error) {
      lose(error.name === 'TimeoutError' ? 'no answer' : error.name === 'TypeError' ? 'unreachable' : error.message);
    }
    showAges();
    again();
  }

  function again() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(poll, pause);
  }

  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    if (!document.hidden) poll();
  });
  showAges();
  again();
})();
