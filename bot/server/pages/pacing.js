/** Doing something a few times a second at most, however often it is asked for. */

/** Return a function that has `act` called soon, and once for all that ask until then. */
export function paced(act, ms) {
  let waiting = 0;
  return () => {
    waiting ||= setTimeout(() => {
      waiting = 0;
      act();
    }, ms);
  };
}

/** Call `act` again and again while the page is seen, but never before it has come to its end. */
export function every(ms, act) {
  let acting = false; // a server that stands still would be asked ever more
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
