"""The ORM and Core see neither features nor ciphertext: what they would do past them is refused."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from timber.errors import FeatureBypassedError


def rows(timber):
    return timber.registry.get_model("Patient"), timber.registry.get_model("Doctor")


async def test_orm_writes_to_a_model_with_features_are_refused(clinic):
    patient, _ = rows(clinic)
    for session_of in (lambda uow: uow.session, lambda uow: clinic.db.get_session()):
        with pytest.raises(FeatureBypassedError, match="Patient declares"):
            async with clinic.unit_of_work() as uow:
                session = session_of(uow)
                try:
                    session.add(patient(number=1, user_id="u"))
                    await session.flush()
                finally:
                    if session is not uow.session:
                        await session.close()


async def test_bulk_statements_are_refused(clinic):
    patient, _ = rows(clinic)
    for statement in (
        sa.insert(patient).values(number=1),
        sa.update(patient).values(ward="x"),
        sa.delete(patient),
        sa.insert(patient.__table__).values(number=1),
        sa.select(sa.delete(patient).returning(patient.number).cte()),
    ):
        with pytest.raises(FeatureBypassedError):
            async with clinic.unit_of_work() as uow:
                await uow.session.execute(statement)
        with pytest.raises(FeatureBypassedError):
            async with clinic.unit_of_work() as uow:
                await (await uow.session.connection()).execute(statement)


async def test_reads_of_encrypted_columns_are_refused_and_others_are_free(clinic, patients):
    patient, doctor = rows(clinic)
    await patients.insert({"number": 1, "user_id": "u", "ssn": "x"})
    aliased = sa.orm.aliased(patient)
    for statement in (
        sa.select(patient),
        sa.select(patient.ssn),
        sa.select(patient.number).where(patient.ssn.is_not(None)),
        sa.select(aliased),
        sa.select(aliased.ssn),
        sa.select(patient.__table__),
        sa.select(sa.func.length(patient.notes)),
        sa.select(sa.select(patient.ssn).subquery()),
    ):
        with pytest.raises(FeatureBypassedError, match="encrypted"):
            async with clinic.unit_of_work() as uow:
                await uow.session.execute(statement)
    async with clinic.unit_of_work() as uow:
        uow.session.add(doctor(name="Who"))
        await uow.session.flush()
        assert await uow.session.scalar(sa.select(patient.number)) == 1
        assert await uow.session.scalar(sa.select(sa.func.count()).select_from(patient)) == 1
        assert (await uow.session.scalars(sa.select(doctor))).one().name == "Who"
