import { Ask } from "./Ask";
import { EventPanel } from "./EventPanel";
import { Header } from "./Header";
import { Watch } from "./Watch";
import { usePage } from "./session";

export function App() {
  const panel = usePage((state) => state.selected !== undefined);
  return (
    <div className="page">
      <Header />
      <main className={panel ? "layout with-panel" : "layout"}>
        <Ask />
        <Watch />
        {panel && <EventPanel />}
      </main>
    </div>
  );
}
