"""How hard decisions are carried out: `masked` computes everything and multiplies, `sparse` leaves out what is off."""
