import { announcement } from "../words";
import { Ask } from "./Ask";
import { Columns } from "./Columns";
import { EventPanel } from "./EventPanel";
import { Header } from "./Header";
import { Help } from "./Help";
import { Keep } from "./Keep";
import { Saved } from "./Saved";
import { Try } from "./Try";
import { Watch } from "./Watch";
import { usePage } from "./session";
import { useShortcuts } from "./shortcuts";

export function App() {
  const panel = usePage((state) => state.selected !== undefined);
  const said = usePage(announcement);
  useShortcuts();
  return (
    <div className="page">
      <Header />
      <main className={panel ? "layout with-panel" : "layout"}>
        <Ask />
        <Watch />
        {panel && <EventPanel />}
      </main>
      <p className="only-heard" role="status" aria-label="Stream">
        {said}
      </p>
      <Try />
      <Keep />
      <Saved />
      <Columns />
      <Help />
    </div>
  );
}
