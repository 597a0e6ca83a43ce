import { createContext, use } from "react";
import { Session } from "../session";
import type { State } from "../store/state";
import { useSelect } from "../store/store";

export const SessionContext = createContext<Session | undefined>(undefined);

export function useSession(): Session {
  const session = use(SessionContext);
  if (session === undefined) throw new Error("a component outside of SessionContext");
  return session;
}

/** A part of the state; the component renders again when it is another value. */
export function usePage<T>(select: (state: State) => T): T {
  return useSelect(useSession().store, select);
}
