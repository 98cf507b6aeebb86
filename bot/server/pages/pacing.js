/** Rate limits for redrawing and polling. */

/** Return a function that calls `act` soon, once for all calls until then. */
export function paced(act, ms) {
  let waiting = 0;
  return () => {
    waiting ||= setTimeout(() => {
      waiting = 0;
      act();
    }, ms);
  };
}

/** Call `act` every `ms` while the page is visible, but not before the last call has ended. */
export function every(ms, act) {
  let acting = false; // otherwise requests to a stopped process would pile up
  setInterval(async () => {
    if (document.hidden || acting) return;
    acting = true;
    try {
      await act();
    } finally {
      acting = false;
    }
  }, ms);
}
