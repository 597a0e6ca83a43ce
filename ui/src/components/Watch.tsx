import { Counters } from "./Counters";
import { EventList } from "./EventList";
import { Insight } from "./Insight";
import { Toolbar } from "./Toolbar";
import { Welcome } from "./Welcome";
import { usePage } from "./session";

/** The answer: what is happening, in numbers, a sentence, and rows. */
export function Watch() {
  const started = usePage((state) => state.run !== undefined);
  return (
    <section className="watch" aria-label="Live events">
      {started ? (
        <>
          <Counters />
          <Toolbar />
          <Insight />
          <EventList />
        </>
      ) : (
        <Welcome />
      )}
    </section>
  );
}
